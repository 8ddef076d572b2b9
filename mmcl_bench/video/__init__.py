"""From videos of the clips to strips of person crops."""
