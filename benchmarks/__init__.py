"""Speed of each path beside the shortest loop a programmer would write for it: `make bench`."""
