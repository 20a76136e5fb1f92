// A verifier imports this library alone: what bundles and evidence are made of comes with it.
@_exported import AttestationFormats
