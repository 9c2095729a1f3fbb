"""The wire, rule by rule: every test names the section of the protocol that it holds."""
