"""Tables: CSV and Parquet files, read in batches, so that a table may be larger than memory.

What needs pyarrow (`reading`, `column_types`, `values`, `raw`, `loading`) is imported only once there is a table.
"""
