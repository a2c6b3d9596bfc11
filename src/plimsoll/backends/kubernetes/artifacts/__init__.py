"""Models as artifacts: what `spec.model.path` becomes on a cluster, and how a pod gets it back, checked.

    layout      which files belong to a model; what is left out, and what looks like a secret
    listing     the files with their digests, as one canonical text: its digest is a model's digest
    references  what `spec.model.uri` says: `configmap://`, `oci://`, `s3://`, …; what of it needs fetching
    mounting    volumes, mounts and the fetch step of a pod, for the renderer
    packing     `pack_small(service, directory)`: a service with `uri` and `digest`, and the ConfigMap it names
    archive     deterministic tars, and taking a foreign one apart safely
    manifest    an OCI image manifest for a model
    registry    the OCI distribution API: push and pull
    fetching/   stores, resumed downloads, the cache on a node

Where a model's folder holds `plimsoll-model.json`, that is its listing, and its `entry` names the model in the folder.
Digests: of a ConfigMap, a folder, a bucket's prefix: SHA-256 of the listing; of `oci`: of the manifest; of a single
file: of the file.
"""
