"""What trades: the definitions of the two teams, without weights."""
