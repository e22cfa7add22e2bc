-- The log has a database of its own beside the data: run once, by the first start of the server.
CREATE DATABASE log;
