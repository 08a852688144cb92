"""Weights: saved and read bit for bit, both public ports imported key by key, anything unsafe refused."""

import csv
import hashlib
import pickle
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from test_i3d import variables

from interp.models import CLSTM, I3D
from interp.models.weights import import_kinetics, load, port_keys, read, read_checkpoint, save, weights_hash

DATA = Path(__file__).parent / "data"
PORTS = ["piergiaj", "hassony2"]
SHIPPED = [("i3d", [-0.30078, -1.54031, -0.71082, -1.54625], "7018ebbe6ac9a215"),
           ("clstm", [3.85562, -1.60188, -3.02182, -3.34654], "11f0b3eab0bf1af4")]


def rows(name: str) -> list[dict]:
    with (DATA / name).open() as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def made_up() -> dict[str, dict[str, torch.Tensor]]:
    """A state_dict under the keys of each port, with random numbers; the two hold different ones."""
    g = torch.Generator().manual_seed(0)
    checkpoints: dict[str, dict] = {port: {} for port in PORTS}
    for row in rows("i3d_port_keys.csv"):
        shape = [int(n) for n in row["shape"].split("x")] if row["shape"] else []
        counter = row["key"].endswith("num_batches_tracked")
        value = torch.tensor(7) if counter else torch.rand(shape, generator=g) * 0.02 + 0.01
        checkpoints[row["port"]][row["key"]] = value
    return checkpoints


def small_clstm() -> CLSTM:
    return CLSTM(3, num_frames=3, size=32, filters=(8,), strides=(2,), pools=(2,))


@pytest.mark.parametrize("port", PORTS)
def test_every_tensor_of_a_port_lands_on_its_variable(port, made_up):
    checkpoint = made_up[port]
    model = import_kinetics(checkpoint)
    assert not model.training and (model.config["num_classes"], model.config["pixel_range"]) == (400, [-1.0, 1.0])
    got = dict(variables(model))
    table = rows("i3d_variables.csv")
    assert len(table) == len(got) == 230
    for row in table:
        assert torch.equal(got[row["variable"]], checkpoint[row[port]]), row["variable"]
    assert {port_keys(key)[port] for key in model.state_dict()} == set(checkpoint)  # scales and counters too
    scale = {"piergiaj": "Mixed_3b.b1b.bn.weight", "hassony2": "mixed_3b.branch_1.1.batch3d.weight"}[port]
    assert torch.equal(model.Mixed_3b.Branch_1.Conv3d_0b_3x3.batch_norm.weight, checkpoint[scale])


def test_fresh_logits_where_the_class_count_differs(made_up):
    checkpoint = {f"module.{key}": value for key, value in made_up["piergiaj"].items() if "tracked" not in key}
    one, two, other = (import_kinetics(checkpoint, 6, seed=seed) for seed in (0, 0, 1))
    last = "Logits.Conv3d_0c_1x1.conv_3d.weight"
    assert one.state_dict()[last].shape == (6, 1024, 1, 1, 1) and one.record["fresh_logits"]
    assert torch.equal(one.state_dict()[last], two.state_dict()[last])
    assert not torch.equal(one.state_dict()[last], other.state_dict()[last])
    kernel = made_up["piergiaj"]["Mixed_5c.b0.conv3d.weight"]
    assert torch.equal(one.Mixed_5c.Branch_0[0].conv_3d.weight, kernel)


def test_a_checkpoint_that_is_not_i3d_is_refused(made_up):
    good = made_up["piergiaj"]
    lacking = {key: value for key, value in good.items() if key != "Mixed_4d.b2a.bn.bias"}
    for wrong, word in [({}, "keys of"), (lacking, "Mixed_4d.Branch_2.Conv3d_0a_1x1.batch_norm.bias"),
                        (good | {"extra": torch.zeros(1)}, "extra"),
                        (good | {"Mixed_4d.b2a.bn.bias": torch.zeros(3)}, "shape")]:  # fmt: skip
        with pytest.raises(ValueError, match=word):
            import_kinetics(wrong)
    with pytest.raises(ValueError, match="width"):
        import_kinetics(good, width=0.5)


@pytest.mark.parametrize("model", [I3D(3, width=0.125, pixel_range=(-1, 1)), small_clstm()])
def test_saved_and_read_bit_for_bit(model, tmp_path):
    path = tmp_path / "a model.safetensors"
    save(path, model.train(), classes=["up", "down", "<b>ö</b>"], record={"recipe": {"epochs": 3}})
    again = read(path)
    assert not again.training and again.config == model.config and type(again) is type(model)
    assert again.classes == ["up", "down", "<b>ö</b>"] and again.record["recipe"] == {"epochs": 3}
    digest = again.record.pop("sha256")
    assert digest == hashlib.sha256(path.read_bytes()).hexdigest()
    assert weights_hash(again) == weights_hash(model)
    assert [p.name for p in tmp_path.iterdir()] == [path.name]
    save(tmp_path / "again", again, again.classes, again.record)
    assert (tmp_path / "again").read_bytes() == path.read_bytes()


def test_a_failed_save_leaves_the_old_file(tmp_path):
    path, model = tmp_path / "m.safetensors", small_clstm()
    save(path, model)
    before = path.read_bytes()
    with pytest.raises(ValueError, match="JSON"):
        save(path, model, record={"x": torch.zeros(1)})
    with pytest.raises(ValueError, match="expected 3 names, got 2"):
        save(path, model, classes=["a", "b"])
    with pytest.raises(ValueError, match="config"):
        save(path, torch.nn.Linear(1, 1))
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == [path.name]


def test_what_is_not_a_whole_model_is_refused(tmp_path):
    path = tmp_path / "m.safetensors"
    with pytest.raises(ValueError, match="no file"):
        read(path)
    save(path, small_clstm())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match="not a whole"):
        read(path)
    save_file({"a": torch.zeros(2)}, path)
    with pytest.raises(ValueError, match="no model config"):
        read(path)
    save_file({"a": torch.zeros(2)}, path, {"config": '{"model": "i3d", "num_classes": 3, "width": 0.1}'})
    with pytest.raises(ValueError, match="do not fit"):
        read(path)
    with pytest.raises(ValueError, match="ships for 'i3d' on 'nothing'"):
        load("i3d", "nothing")


# of what the package shipped before it was split into folders: logits of the clips below, and the hash of the tensors
@pytest.mark.parametrize("name, logits, digest", SHIPPED)
def test_the_shipped_networks_are_those_of_before(name, logits, digest):
    model = load(name)
    clips = torch.linspace(0, 1, 16 * 64 * 64).view(1, 1, 16, 64, 64).expand(1, 3, -1, -1, -1)
    with torch.no_grad():
        assert model(clips)[0, :4].tolist() == pytest.approx(logits, abs=2e-5)
    assert weights_hash(model).startswith(digest) and len(model.classes) == 12


class Trap:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_checkpoints_are_read_without_running_them(tmp_path):
    tensors = {"a": torch.arange(3.0), "b": torch.ones(2, 2)}
    torch.save(tensors, tmp_path / "plain.pt")
    torch.save({"epoch": 3, "state_dict": tensors}, tmp_path / "wrapped.pth")
    save_file(tensors, tmp_path / "safe.safetensors")
    for name in ("plain.pt", "wrapped.pth", "safe.safetensors"):
        got = read_checkpoint(tmp_path / name)
        assert got.keys() == tensors.keys() and all(torch.equal(got[key], tensors[key]) for key in tensors)

    sprung = tmp_path / "sprung"
    torch.save({"a": torch.zeros(1), "b": Trap(sprung)}, tmp_path / "trap.pt")
    (tmp_path / "trap.pth").write_bytes(pickle.dumps(Trap(sprung), protocol=2))
    (tmp_path / "trap.pkl").write_bytes(pickle.dumps(Trap(sprung), protocol=2))
    torch.save(torch.nn.Linear(1, 1), tmp_path / "module.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "empty.pt").write_bytes(b"")
    (tmp_path / "text.pth").write_text("<html>not found</html>")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "plain.pt").read_bytes()[:200])
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "safe.safetensors").read_bytes()[:20])
    for name in ("trap.pt", "trap.pth", "trap.pkl", "module.pt", "list.pt", "empty.pt", "text.pth", "cut.pt",
                 "cut.safetensors", "absent.pt"):  # fmt: skip
        with pytest.raises(ValueError, match=name):
            read_checkpoint(tmp_path / name)
    assert not sprung.exists()
