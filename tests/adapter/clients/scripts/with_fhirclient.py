"""What a user of fhirclient does, unchanged: python with_fhirclient.py BASE TOKEN. Prints one JSON object."""

import json
import sys

from fhirclient import client
from fhirclient.models.observation import Observation
from fhirclient.models.organization import Organization
from fhirclient.models.patient import Patient
from fhirclient.server import FHIRNotFoundException

base, token = sys.argv[1:]
smart = client.FHIRClient(settings={"app_id": "test", "api_base": base})
smart.server.session.headers["Authorization"] = f"Bearer {token}"
smart.prepare()  # reads the CapabilityStatement
found = {}

[security] = [rest.security for rest in smart.server.capabilityStatement.rest]
[uris] = [one for one in security.extension if one.url.endswith("/oauth-uris")]
found["uris"] = {one.url: one.valueUri for one in uris.extension}
patient = Patient.read("ana", smart.server)
found["read"] = [patient.id, patient.birthDate.isostring]
search = Observation.where(struct={"patient": "ana", "_sort": "date", "_count": "2"})
found["all"] = [one.id for one in search.perform_resources(smart.server)]
try:
    Patient.read("nobody", smart.server)
except FHIRNotFoundException:
    found["absent"] = 404

organization = Organization({"name": "Station 3"})
made = organization.create(smart.server)
stored = Organization.read(made["id"], smart.server)
stored.name = "Station 4"
found["changed"] = stored.update(smart.server)["meta"]["versionId"]
stored.delete(smart.server)
print(json.dumps(found))  # noqa: T201 - what it is for
