"""The standards and the maps between them: HL7 v2, CDA, FHIR R4. Pure functions, no sockets, disks, clocks or keys."""
