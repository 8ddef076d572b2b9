"""The one exception that a user is meant to see."""


class UserError(Exception):
    """A mistake that the user can correct. The command line prints it as one line and exits with code 2.

    The message states what is wrong, where, and how to correct it, for example
    ``utd-mhad.zip: a5_s2_t3_skeleton.mat holds no 'd_skel' array; download it again or pass --skip-bad``.
    """
