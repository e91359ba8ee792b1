"""The floor: the least program that crosses the same hops as this project, with no htag."""
