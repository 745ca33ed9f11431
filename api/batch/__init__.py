"""A month of lists through all rules and groupings into the store, in parts that any executor may work on."""
