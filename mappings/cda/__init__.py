"""CDA R2 documents to FHIR R4, and patient summaries back: C-CDA, European eHDSI, any other ClinicalDocument."""
