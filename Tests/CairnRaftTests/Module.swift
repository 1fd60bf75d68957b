// Makes room for the tests.
