"""What writing HL7 v2 and writing CDA share: resources whose leaves are known by themselves, what nobody read of them,
maps and systems read backwards, times as HL7 writes them."""
