"""The one exception that a user is meant to see."""


class UserError(Exception):
    """A mistake the user can mend. The command line prints it as one line and exits with code 2.

    The message says what is wrong, where, and how to mend it, for example
    ``utd-mhad.zip: a5_s2_t3_skeleton.mat holds no 'd_skel' array; download it again or pass --skip-bad``.
    """
