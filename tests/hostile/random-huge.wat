;; Asks for 16 EiB of random bytes. | trapped
(func (export "handle") (param $delivery i32) (result i32) (call $random (i64.const -1) (i32.const 200)) (call $ok))
