"""Other people's engines, measured on the same shapes beside ours."""
