"""File formats that published skeletons come in, read from bytes that nobody vouches for. One file a format."""
