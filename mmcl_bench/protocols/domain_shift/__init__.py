"""How far apart two prepared sets are: what is measured, in words, and as a picture."""
