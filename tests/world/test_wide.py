"""The wide world: the narrow one stays as it was, names can be left out or chosen, captions are short and tell all."""

import hashlib

import numpy as np
import pytest

from kinema.errors import InputError
from kinema.optimize.text_encoder import TokenTableEncoder
from kinema.types import BodyMotion
from kinema.world.places import PLACES, wide_backdrop
from kinema.world.sampler import World
from kinema.world.wide import HELD_OUT, RIDES, SPECIES, _animal, _thing, named, rider, with_article
from world import shipped_world


def digest(world: World, seeds: range, frames: int = 8) -> str:
    made = hashlib.sha256()
    for seed in seeds:
        clip = world.sample(seed, frames=frames, size=(64, 64))
        made.update(clip.video.frames.tobytes() + clip.scene.prompt.encode())
    return made.hexdigest()


def wide(**names) -> World:
    return World(shipped_world().clips, [], "train", wide=True, **names)


def test_the_narrow_world_is_what_it_was_before_there_was_a_wide_one():
    assert digest(shipped_world(), range(12)) == "5ec47be7da495c48f8879cb841c2cef41ce6d864aa5436a5f697bea19d57bcdb"


def test_equal_seeds_give_equal_clips_whatever_was_sampled_before():
    world = wide()
    world.sample(1, 4, (32, 32))
    assert digest(world, range(3), 4) == digest(wide(), range(3), 4)


def test_captions_are_short():
    tokenizer, world = TokenTableEncoder().tokenizer, wide()
    prompts = [world.sample(seed, 4, (32, 32)).scene.prompt for seed in range(60)]
    counts = [len(tokenizer.encode(prompt.lower()).ids) for prompt in prompts]
    assert np.quantile(counts, 0.95) <= 48
    assert len(set(prompts)) == 60
    assert sum("robot" in prompt for prompt in prompts) >= 3


def test_every_subject_is_in_the_caption_and_labels_are_those_that_perception_knows():
    for seed in range(20):
        scene = wide().sample(seed, 4, (32, 32)).scene
        for subject in scene.subjects:
            assert subject.appearance in scene.prompt
            if isinstance(subject.motion, BodyMotion):
                assert subject.label == {"human": "a person", "animal": "a dog"}[subject.motion.category]


def test_names_left_out_are_never_shown():
    world = wide(without=(*HELD_OUT, "a horse", "a dog"))
    for seed in range(60):
        words = world.sample(seed, 3, (32, 32)).scene.prompt.replace(";", " ").replace(",", " ").split()
        assert not {"zebra", "cow", "car", "can", "horse", "dog"} & set(words)


def test_only_chosen_names_lead():
    leads = [wide(only=HELD_OUT).sample(seed, 3, (32, 32)).scene.subjects[0].appearance for seed in range(24)]
    assert {name for name in ("zebra", "cow", "car", "can") for lead in leads if name in lead.split()} == {
        "zebra", "cow", "car", "can",
    }  # fmt: skip
    assert all({"zebra", "cow", "car", "can"} & set(lead.split()) for lead in leads)


def test_names_need_a_wide_world_and_must_be_known():
    with pytest.raises(InputError, match="wide"):
        World.load(without=HELD_OUT)
    with pytest.raises(InputError, match="unicorn"):
        wide(only=("a unicorn",)).sample(0, 3, (32, 32))


def test_a_rider_sits_on_the_back_of_its_horse_and_faces_where_it_does():
    rng = np.random.default_rng(0)
    for act in ("walk", "trot", "canter", "gallop", "stand"):
        horse = _animal(rng, 16, "horse", (act,))
        person = rider(rng, horse)
        assert person.doing == RIDES
        assert person.joints_m is not None
        assert horse.joints_m is not None
        back = horse.joints_m[:, 2]
        above = person.joints_m[:, 0] - back
        assert (above[:, 1] > 0.1).all(), "the pelvis is above the spine"
        assert (np.abs(above) < 0.6).all()
        ahead = horse.joints_m[:, 6] - horse.joints_m[:, 0]
        left_to_right = person.joints_m[:, 2] - person.joints_m[:, 1]
        facing = np.cross(left_to_right, [0, 1, 0]) * -1
        cosine = (ahead * facing).sum(-1) / np.linalg.norm(ahead, axis=-1) / np.linalg.norm(facing, axis=-1)
        assert (cosine > 0.9).all()
        assert (person.vertices[..., 1] > horse.vertices[..., 1].min() + 0.1).all(), "its feet hang"


def test_species_differ_in_size_and_names_in_whole_words():
    rng = np.random.default_rng(0)
    height = {name: float(np.ptp(_animal(rng, 4, name, ("stand",)).vertices[0, :, 1])) for name in SPECIES}
    assert height["horse"] > 1.6 * height["dog"]
    zebra = _animal(rng, 4, "zebra", ("stand",))
    assert named(zebra, ("a zebra",))
    assert not named(zebra, ("a zeb", "a horse"))
    assert with_article("orange ball") == "an orange ball"


def test_places_differ_and_are_named():
    seen = {}
    for seed in range(80):
        picture, words = wide_backdrop(np.random.default_rng(seed), 64, [])
        assert picture.shape == (64, 64, 3)
        assert picture.dtype == np.uint8
        seen[words] = picture.mean((0, 1))
    assert len(set(PLACES) & set(seen)) >= 6
    assert len(seen) > 40


def test_things_are_called_by_their_whole_names():
    rng = np.random.default_rng(0)
    names = {_thing(rng, 4).label for _ in range(150)}
    assert "a tennis ball" in names
    assert all(name.startswith("a ") and " is" not in name for name in names), names
