import threading

import numpy as np
import pytest
import small_models
from ai_edge_litert import schema_py_generated as schema

from kerasdeconv import runtime
from kerasdeconv.errors import ArtifactError
from kerasdeconv.export.metadata import write_metadata

METADATA = {"schema": 1, "name": "Zellkerne µ", "convention": small_models.SEGMENTATION.to_dict()}


@pytest.fixture(params=["tflite", "onnx"])
def bare(request, tmp_path):
    path = tmp_path / f"bare.{request.param}"
    if request.param == "onnx":
        return small_models.write_onnx(path, None)
    return small_models.write_tflite(path, small_models.segmentation_model(), None)


def test_what_is_written_is_read(bare):
    assert runtime.read_metadata(bare) is None
    write_metadata(bare, METADATA)
    assert runtime.read_metadata(bare) == METADATA | {
        "convention": {
            key: list(value) if isinstance(value, tuple) else value
            for key, value in METADATA["convention"].items()
        }
    }
    assert [path.name for path in bare.parent.iterdir()] == [bare.name]


def test_the_network_stays_what_it_was(bare):
    image = np.random.default_rng(0).uniform(0, 255, (1, 32, 32, 3)).astype(np.float32)
    before = runtime.open(bare).run(image)[0]
    write_metadata(bare, METADATA)
    np.testing.assert_array_equal(runtime.open(bare).run(image)[0], before)


def test_writing_again_replaces(bare):
    write_metadata(bare, METADATA | {"name": "a much longer name than the other one" * 9})
    write_metadata(bare, METADATA)
    once = bare.read_bytes()
    write_metadata(bare, METADATA)
    assert bare.read_bytes() == once
    assert runtime.read_metadata(bare)["name"] == METADATA["name"]


def test_tflite_buffers_keep_their_alignment_and_other_metadata(tmp_path):
    path = small_models.write_tflite(
        tmp_path / "bare.tflite", small_models.segmentation_model(), None
    )
    before = schema.Model.GetRootAs(path.read_bytes())
    write_metadata(path, METADATA)
    content = path.read_bytes()
    after = schema.Model.GetRootAs(content)
    names = [[m.Metadata(i).Name() for i in range(m.MetadataLength())] for m in (before, after)]
    assert names[0]
    assert names[1] == [*names[0], b"kerasdeconv"]
    assert after.BuffersLength() == before.BuffersLength() + 1
    base = np.frombuffer(content, np.uint8).ctypes.data
    for i in range(after.BuffersLength()):
        buffer = after.Buffers(i)
        if not buffer.DataIsNone() and buffer.DataLength():
            assert (buffer.DataAsNumpy().ctypes.data - base) % 16 == 0


@pytest.mark.parametrize("suffix", ["tflite", "onnx"])
def test_a_damaged_file_stays_as_it_is(tmp_path, suffix):
    path = tmp_path / f"random.{suffix}"
    content = np.random.default_rng(0).bytes(3000)
    path.write_bytes(content)
    with pytest.raises(ArtifactError, match="amaged"):
        write_metadata(path, METADATA)
    assert path.read_bytes() == content
    assert len(list(tmp_path.iterdir())) == 1


def test_a_reader_never_sees_half_a_file(bare):
    write_metadata(bare, METADATA)
    sizes = set()
    done = threading.Event()

    def write():
        for _ in range(5):
            write_metadata(bare, METADATA)
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    while True:  # once at least, however fast the writer is
        finished = done.is_set()
        sizes.add(len(bare.read_bytes()))
        if finished:
            break
    writer.join()
    assert len(sizes) == 1
