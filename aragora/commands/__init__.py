"""The commands behind `aragora`; each module adds its own arguments and runs them."""
