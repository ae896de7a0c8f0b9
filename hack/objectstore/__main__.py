"""Builds the server where it is not there yet, and says where it is."""

from hack import objectstore

if __name__ == "__main__":
    print(objectstore.ensure())
