"""Every transport behind the seam must pass these, so that the session cannot tell them apart."""
