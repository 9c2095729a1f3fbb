"""What an operator decides: settings and apps, where they come from, and the tables that tell of them.

`settings` and `apps` say what there is; `sources` reads file, environment and flags; `reload` follows the apps' file; `keys`
is how all of them check a key and say what is wrong with it; `reference` writes the tables in README.md.
"""
