"""The transparency log, its vault and its offline verification. Knows events, digests and time; no FHIR, no HL7."""
