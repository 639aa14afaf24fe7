"""The ports made real: Redis, the workers' HTTP, the streams. Foreign names and exceptions end here."""
