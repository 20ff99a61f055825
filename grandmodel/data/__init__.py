"""Raw files in, clean, dated, roll-aware bars out; what is wrong with a file is said in one sentence."""
