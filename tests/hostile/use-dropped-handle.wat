;; Uses a handle after it gave it back. | trapped
(func (export "handle") (param $delivery i32) (result i32) (local $h i32)
  (local.set $h (call $subscribe (i64.const 1)))
  (call $drop (local.get $h)) (call $block (local.get $h)) (call $ok))
