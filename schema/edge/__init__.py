"""What stands between the network and the resolvers: access, limits, errors, ids, pages."""
