"""HTTP in, domain values on; and back. No rule about prompts lives here."""
