"""From a URI to a model's folder, whole and checked, or not there at all.

sources      what a URI stands for: blobs that can be read from any offset; `web`, `oci`, files
cloud, hub   buckets and model hubs, through their own libraries (extras s3, gs, hf)
credentials  a mounted Secret's keys
download     one blob to one file: resumed, tried again, checked
space        room on the disk, and the error where there is none
fetch        all of it: staging beside the target, checked, then renamed into place
cache        models kept by digest, shared by pods; what goes when there is too much
prefetch     a list of models kept ready
"""
