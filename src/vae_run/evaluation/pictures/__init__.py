"""Pictures: one file each, a picture of the same name, from a `View` to an image.

Letters: N images, D latent dimensions, T columns, G grid points a side, E event shape.

May import data, evaluation.base, evaluation.codes, evaluation.few_images, evaluation.metrics,
evaluation.principal_components, evaluation.quantities, evaluation.table_rows, evaluation.view,
models, plots, system.
"""
