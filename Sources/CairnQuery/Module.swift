// Makes room for the module.
