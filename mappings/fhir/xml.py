"""XML of FHIR resources: the same trees that `codec.py` makes of JSON, written as XML and read from it.

`to_xml` and `from_xml` are inverse: a tree comes back with equal members and equal number lexemes; a narrative is equal
after canonicalization, for comments are dropped. JSON stays the form that is hashed, sealed and stored. What an element
may hold is the schema's; whether a value fits is `validate.py`'s.

Source: FHIR R4 4.0.1 §2.6.1 (XML representation), §2.6.2 (JSON); fhir chapter §3.
"""

from mappings.fhir.xml_read import from_xml
from mappings.fhir.xml_write import Unwritable, to_xml

__all__ = ["Unwritable", "from_xml", "to_xml"]
