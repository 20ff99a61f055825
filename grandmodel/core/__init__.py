"""What every room leans on: bars, instruments, errors, hashing, random streams, time, configuration."""
