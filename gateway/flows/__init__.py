"""The use cases: each awaits its ports and asks the domain to decide."""
