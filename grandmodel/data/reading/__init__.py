"""Files in, rows on one clock out; every decision about them comes with its evidence."""
