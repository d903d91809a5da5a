;; Rejects for a reason of 4 GiB. | trapped
(func (export "handle") (param $delivery i32) (result i32)
  (i32.store8 (i32.const 8) (i32.const 1)) (i32.store8 (i32.const 16) (i32.const 2))
  (i32.store (i32.const 24) (i32.const 0)) (i32.store (i32.const 28) (i32.const -1)) (i32.const 8))
