"""What a user of fhirpy does, unchanged: python with_fhirpy.py BASE TOKEN. Prints one JSON object."""

import json
import sys

from fhirpy import SyncFHIRClient
from fhirpy.base.exceptions import OperationOutcome, ResourceNotFound

base, token = sys.argv[1:]
client = SyncFHIRClient(base, authorization=f"Bearer {token}")
found = {}

patient = client.reference("Patient", "ana").to_resource()
found["read"] = patient["id"]
observations = client.resources("Observation").search(patient="ana").sort("date").limit(2)
found["page"] = [one["id"] for one in observations.fetch()]
found["all"] = [one["id"] for one in observations.fetch_all()]
found["count"] = client.resources("Observation").search(patient="ana").count()
found["first"] = client.resources("Patient").search(identifier="urn:oid:2.999.1.1|MR-ana").first()["id"]
found["included"] = sorted(
    entry["resource"]["resourceType"]
    for entry in client.resources("Observation").search(_id="o1").include("Observation", "subject").fetch_raw()["entry"]
)
try:
    client.reference("Patient", "nobody").to_resource()
except ResourceNotFound:
    found["absent"] = 404
try:
    client.resources("Patient").search(nonsense="1", _id="ana").fetch()
except OperationOutcome as outcome:
    found["unknown"] = outcome.resource["issue"][0]["code"]

organization = client.resource("Organization", name="Station 3")
organization.save()
organization["name"] = "Station 4"
organization.save()
found["version"] = organization["meta"]["versionId"]
search = client.resources("Organization").search(identifier="urn:oid:2.999.4|5")
wanted = client.resource("Organization", name="Station 5", identifier=[{"system": "urn:oid:2.999.4", "value": "5"}])
found["created"] = [search.get_or_create(wanted)[1], search.get_or_create(wanted)[1]]
organization.delete()
print(json.dumps(found))  # noqa: T201 - what it is for
