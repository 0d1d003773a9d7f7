"""Commands of the command line, and how they print; `job.cli` puts them together."""
