"""The application's side: peers and the connections kept to them."""
