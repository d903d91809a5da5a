;; Publishes a topic that lies beyond its memory. | trapped
(func (export "handle") (param $delivery i32) (result i32)
  (call $publish (i32.const -100) (i32.const 50) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0)
    (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i32.const 0) (i64.const 0) (i32.const 0)
    (i64.const 0) (i32.const 200))
  (unreachable))
