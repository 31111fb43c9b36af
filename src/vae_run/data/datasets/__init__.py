"""The datasets, one file each.

May import config, data.array_images, data.array_labels, data.array_names, data.array_source,
data.checks, data.class_labels, data.columns, data.condition_columns, data.dataset,
data.decoded_dataset, data.download, data.given, data.given_pictures, data.image_attributes,
data.image_tables, data.images, data.matlab_reader, data.scaled_dataset, data.splits,
data.table_columns, data.table_features, data.table_file, data.webdataset, data.white,
system.extras, system.hardware.
"""
