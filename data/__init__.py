"""Data sets: loaders, splits and batches."""

from data.augment import Augment
from data.batches import epoch_batches, normalise, ordered_batches
from data.candidate_files import write_candidates
from data.candidates import CandidateTable, scan_candidates
from data.errors import DataError
from data.hashes import query_hashes
from data.image_split import ImageSet, ImageSplit
from data.images import IMAGE_DATA_SETS, ImageData, load_images
from data.letor import prepare_letor, prepare_mq2008
from data.movielens import prepare_movielens
from data.prepared import Fold, PreparedTables, Roles, load_prepared, write_prepared
from data.schema import TableSchema
from data.split_files import SplitPart, split_table
from data.synthetic_tables import synthetic, synthetic_batches
from data.table_splits import split_by_query, split_by_time
from data.text import TextData, contiguous_batches, library_text, load_text
from data.trec import read_qrels, read_run, write_qrels, write_run

__all__ = [
    "IMAGE_DATA_SETS",
    "Augment",
    "CandidateTable",
    "DataError",
    "Fold",
    "ImageData",
    "ImageSet",
    "ImageSplit",
    "PreparedTables",
    "Roles",
    "SplitPart",
    "TableSchema",
    "TextData",
    "contiguous_batches",
    "epoch_batches",
    "library_text",
    "load_images",
    "load_prepared",
    "load_text",
    "normalise",
    "ordered_batches",
    "prepare_letor",
    "prepare_movielens",
    "prepare_mq2008",
    "query_hashes",
    "read_qrels",
    "read_run",
    "scan_candidates",
    "split_by_query",
    "split_by_time",
    "split_table",
    "synthetic",
    "synthetic_batches",
    "write_candidates",
    "write_prepared",
    "write_qrels",
    "write_run",
]
