"""What the repository tells people and GitHub to do, read so that tests can hold it against what is really there."""
