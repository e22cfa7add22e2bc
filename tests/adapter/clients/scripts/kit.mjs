// What a user of fhir-kit-client does, unchanged: node kit.mjs CLIENT-FOLDER BASE TOKEN. Prints one JSON object.
import { pathToFileURL } from 'node:url';

const [folder, baseUrl, bearerToken] = process.argv.slice(2);
const { Client } = await import(pathToFileURL(`${folder}/node_modules/fhir-kit-client/dist/index.js`));
const client = new Client({ baseUrl, bearerToken });
const found = {};

const failing = async (work) => {
  try {
    await work();
  } catch (error) {
    return error.response?.status ?? String(error);
  }
  return 'nothing failed';
};

found.smart = await client.smartAuthMetadata();
found.fhirVersion = (await client.capabilityStatement()).fhirVersion;
const patient = await client.read({ resourceType: 'Patient', id: 'ana' });
found.read = patient.id;
found.version = (await client.vread({ resourceType: 'Patient', id: 'ana', version: '1' })).meta.versionId;
found.absent = await failing(() => client.read({ resourceType: 'Patient', id: 'nobody' }));

const params = { patient: 'ana', _sort: ['date', '_id'], _count: 2 };
let page = await client.search({ resourceType: 'Observation', searchParams: params });
found.total = page.total;
found.pages = [];
while (page) {
  found.pages.push(page.entry.map((entry) => entry.resource.id));
  page = await client.nextPage({ bundle: page });
}
const posted = { resourceType: 'Observation', searchParams: { patient: 'ana' }, options: { postSearch: true } };
found.posted = (await client.search(posted)).total;
found.system = (await client.search({ searchParams: { _id: 'ana', _type: 'Patient' } })).total;
found.compartment = (
  await client.compartmentSearch({ compartment: { resourceType: 'Patient', id: 'ana' }, resourceType: 'Observation' })
).total;
found.history = (await client.history({ resourceType: 'Patient', id: 'ana' })).entry.length;
found.unknown = await failing(() => client.search({ resourceType: 'Patient', searchParams: { nonsense: '1', _id: 'ana' } }));

const made = await client.create({ resourceType: 'Organization', body: { resourceType: 'Organization', name: 'Station 3' } });
found.made = made.name;
const changed = await client.update({ resourceType: 'Organization', id: made.id, body: { ...made, name: 'Station 4' } });
found.changed = [changed.name, changed.meta.versionId];
const body = { resourceType: 'Organization', name: 'Station 5', identifier: [{ system: 'urn:oid:2.999.4', value: '5' }] };
const again = { resourceType: 'Organization', searchParams: { identifier: 'urn:oid:2.999.4|5' }, body };
found.conditional = [(await client.update(again)).id, (await client.update(again)).id];
await client.delete({ resourceType: 'Organization', id: made.id });
found.gone = await failing(() => client.read({ resourceType: 'Organization', id: made.id }));
console.log(JSON.stringify(found));
