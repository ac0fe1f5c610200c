//! What the keypoints of a model's objects are called, and which of them are drawn together.

use vidmill_image::draw::COCO_BONES;

/// The keypoints of a model's objects, in its order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Keypoints {
    pub names: Vec<String>,
    /// Pairs of places in `names`.
    pub skeleton: Vec<[usize; 2]>,
}

/// COCO's persons: `keypoints` of its category 1.
const COCO17: [&str; 17] = [
    "nose",
    "left_eye",
    "right_eye",
    "left_ear",
    "right_ear",
    "left_shoulder",
    "right_shoulder",
    "left_elbow",
    "right_elbow",
    "left_wrist",
    "right_wrist",
    "left_hip",
    "right_hip",
    "left_knee",
    "right_knee",
    "left_ankle",
    "right_ankle",
];

impl Keypoints {
    /// Of objects that have none.
    pub(super) const NONE: Self = Self { names: Vec::new(), skeleton: Vec::new() };

    /// The 17 of COCO's persons.
    pub(super) fn coco17() -> Self {
        Self { skeleton: COCO_BONES.to_vec(), ..Self::named(&COCO17) }
    }

    /// Points of these names that nothing joins.
    pub(super) fn named(names: &[&str]) -> Self {
        Self { names: names.iter().map(|&name| name.to_owned()).collect(), skeleton: Vec::new() }
    }

    /// `count` points that go by their numbers.
    pub(super) fn numbered(count: usize) -> Self {
        Self { names: (0..count).map(|number| number.to_string()).collect(), skeleton: Vec::new() }
    }

    /// `count` points of a model that may name them; where it does not, 17 are taken for COCO's.
    pub(super) fn of(
        count: usize,
        names: Option<&[String]>,
        skeleton: Option<&[[usize; 2]]>,
        why: &mut Vec<String>,
    ) -> Self {
        let named = match names {
            Some(names) if names.len() == count => {
                let coco = names.iter().map(String::as_str).eq(COCO17);
                why.push(format!("names of {count} keypoints: from the model's metadata"));
                let skeleton = if coco { COCO_BONES.to_vec() } else { Vec::new() };
                Self { names: names.to_vec(), skeleton }
            }
            Some(names) => {
                why.push(format!(
                    "the metadata does not fit: it names {} keypoints, the model has {count}",
                    names.len()
                ));
                Self::numbered(count)
            }
            None if count == COCO17.len() => {
                why.push("names of 17 keypoints: COCO's, as the model names none and has just 17".to_owned());
                Self::coco17()
            }
            None => {
                why.push(format!("names of {count} keypoints: none, so they go by their numbers"));
                Self::numbered(count)
            }
        };
        let skeleton = match skeleton {
            Some(bones) if bones.iter().flatten().all(|end| *end < count) => bones.to_vec(),
            Some(_) => {
                why.push(format!(
                    "the metadata does not fit: its skeleton has more than the model's {count} keypoints"
                ));
                Vec::new()
            }
            None => named.skeleton,
        };
        Self { skeleton, ..named }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_bone_of_cocos_skeleton_joins_two_of_its_points() {
        let coco = Keypoints::coco17();
        assert_eq!((coco.names.len(), coco.skeleton.len()), (17, 19));
        assert!(coco.skeleton.iter().all(|[a, b]| a != b && *a < 17 && *b < 17));
    }

    #[test]
    fn names_that_do_not_fit_are_told() {
        let mut why = Vec::new();
        let names = ["a".to_owned(), "b".to_owned()];
        assert_eq!(Keypoints::of(2, Some(&names), Some(&[[0, 1]]), &mut why).skeleton, [[0, 1]]);
        assert_eq!(Keypoints::of(3, Some(&names), None, &mut why), Keypoints::numbered(3));
        assert_eq!(Keypoints::of(2, Some(&names), Some(&[[0, 2]]), &mut why).skeleton, [[0; 2]; 0]);
        assert_eq!(Keypoints::of(17, None, None, &mut why), Keypoints::coco17());
        assert_eq!(why.iter().filter(|line| line.starts_with("the metadata does not fit")).count(), 2);
    }
}
