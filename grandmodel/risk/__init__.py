"""Trading state, drawdown breaker, stress scenarios, value at risk. Losses are positive; doubt reduces."""
