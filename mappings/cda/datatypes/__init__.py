"""CDA datatypes to FHIR datatypes, by the names that mapping rows use."""
