"""Outbound HL7 v2."""
