"""Libraries written for MongoDB, used as their manuals say, on a cluster that they know only the connection string of."""

import asyncio
import datetime
import decimal
import enum
import io
import os
import typing

import pytest

import gridfs


class TestMongoEngine:
    """An object-document mapper for synchronous programs."""

    @pytest.fixture(autouse=True)
    def models(self, cluster):
        import mongoengine

        class Address(mongoengine.EmbeddedDocument):
            street = mongoengine.StringField(required=True)
            city = mongoengine.StringField()

        class Person(mongoengine.Document):
            name = mongoengine.StringField(required=True, max_length=50)
            email = mongoengine.EmailField(unique=True)
            age = mongoengine.IntField(min_value=0)
            tags = mongoengine.ListField(mongoengine.StringField())
            addresses = mongoengine.EmbeddedDocumentListField(Address)
            scores = mongoengine.MapField(mongoengine.FloatField())
            born = mongoengine.DateTimeField()
            balance = mongoengine.Decimal128Field()
            photo = mongoengine.FileField()
            meta = {"collection": "people", "indexes": ["age", ("name", "-age"), {"fields": ["tags"], "sparse": True}]}

        class Post(mongoengine.Document):
            title = mongoengine.StringField()
            author = mongoengine.ReferenceField(Person, reverse_delete_rule=mongoengine.CASCADE)
            meta = {"allow_inheritance": True, "ordering": ["title"]}

        class LinkPost(Post):
            url = mongoengine.URLField()

        self.Address, self.Person, self.Post, self.LinkPost = Address, Person, Post, LinkPost
        mongoengine.connect("engine", host=cluster.uri, uuidRepresentation="standard", alias="default")
        mongoengine.get_connection().drop_database("engine")
        yield
        mongoengine.disconnect_all()

    def people(self):
        return [
            self.Person(
                name=f"person {number}", email=f"p{number}@example.com", age=number % 40, tags=["even" if number % 2 == 0 else "odd"],
                addresses=[self.Address(street=f"street {number}", city="Lund")], scores={"first": number / 2},
                born=datetime.datetime(1950 + number, 1, 2, 3, 4, 5), balance=decimal.Decimal("10.25")).save()
            for number in range(60)
        ]

    def test_documents_are_saved_queried_and_changed(self):
        self.people()
        Person = self.Person
        assert Person.objects.count() == 60
        assert Person.objects(age__gte=30, tags="even").count() == 5
        assert [p.name for p in Person.objects(name__icontains="SON 1").order_by("-age").only("name").limit(2)] == [
            "person 19", "person 18"]
        assert Person.objects(addresses__street="street 7").first().balance == decimal.Decimal("10.25")
        assert Person.objects(email="p3@example.com").update_one(inc__age=5, push__tags="new", set__scores__second=1.5) == 1
        third = Person.objects.get(email="p3@example.com")
        assert (third.age, third.tags, third.scores) == (8, ["odd", "new"], {"first": 1.5, "second": 1.5})
        third.tags.remove("odd")
        third.addresses[0].city = "Umeå"
        third.save()
        third.reload()
        assert third.tags == ["new"] and third.addresses[0].city == "Umeå"
        assert Person.objects(email="new@example.com").modify(upsert=True, new=True, set__name="new", set__age=1).name == "new"
        assert Person.objects(tags="even").update(pull__tags="even", multi=True) == 30
        assert Person.objects(tags__size=0).count() == 30
        assert Person.objects(age__lt=3).delete() > 0

    def test_a_unique_field_is_unique_and_its_error_is_the_librarys(self):
        import mongoengine

        self.people()
        with pytest.raises(mongoengine.NotUniqueError):
            self.Person(name="other", email="p1@example.com").save()
        with pytest.raises(mongoengine.DoesNotExist):
            self.Person.objects.get(name="nobody")
        names = set(self.Person._get_collection().index_information())
        assert {"_id_", "email_1", "age_1", "name_1_age_-1", "tags_1"} <= names

    def test_aggregation_sums_and_inheritance(self):
        people = self.people()
        assert self.Person.objects.sum("age") == sum(n % 40 for n in range(60))
        assert self.Person.objects(tags="odd").average("age") == sum(n % 40 for n in range(1, 60, 2)) / 30
        rows = list(self.Person.objects.aggregate([{"$group": {"_id": "$tags", "n": {"$sum": 1}}}, {"$sort": {"_id": 1}}]))
        assert [row["n"] for row in rows] == [30, 30]
        self.Post(title="a", author=people[0]).save()
        self.LinkPost(title="b", author=people[1], url="https://example.com/").save()
        assert [type(post).__name__ for post in self.Post.objects] == ["Post", "LinkPost"]
        assert self.LinkPost.objects.count() == 1
        assert self.Post.objects.first().author.email == "p0@example.com"
        people[0].delete()
        assert [post.title for post in self.Post.objects] == ["b"], "the reference's delete rule"

    def test_queries_are_counted_by_the_profile(self, cluster):
        import mongoengine
        from mongoengine.context_managers import query_counter

        # A profile is one node's, so the queries have to go to that node.
        mongoengine.disconnect_all()
        mongoengine.connect("engine", host=f"mongodb://{cluster.addresses[0]}/?directConnection=true", uuidRepresentation="standard")
        self.people()
        with query_counter() as counter:
            assert counter == 0
            list(self.Person.objects(age__lt=5))
            assert counter == 1
            self.Person.objects.first()
            assert counter == 2

    def test_files_are_kept_beside_documents(self):
        person = self.people()[0]
        picture = os.urandom(700_000)
        person.photo.put(io.BytesIO(picture), content_type="image/jpeg", filename="p.jpg")
        person.save()
        again = self.Person.objects.get(email="p0@example.com")
        assert again.photo.read() == picture and again.photo.content_type == "image/jpeg"
        again.photo.delete()
        again.save()
        assert not self.Person.objects.get(email="p0@example.com").photo


class TestBeanie:
    """An object-document mapper for asynchronous programs."""

    def run(self, cluster, body):
        import beanie
        import pydantic
        import pymongo

        class Kind(enum.Enum):
            fruit = "fruit"
            tree = "tree"

        class Producer(beanie.Document):
            name: str

        class Product(beanie.Document):
            name: typing.Annotated[str, beanie.Indexed(unique=True)]
            price: float
            kind: Kind = Kind.fruit
            stock: list[int] = []
            made: datetime.datetime = pydantic.Field(default_factory=lambda: datetime.datetime(2024, 5, 6))
            producer: typing.Optional[beanie.Link[Producer]] = None

            class Settings:
                name = "products"
                use_state_management = True
                indexes = [[("price", pymongo.DESCENDING), ("kind", pymongo.ASCENDING)]]

        async def whole():
            client = pymongo.AsyncMongoClient(cluster.uri)
            await client.drop_database("bean")
            await beanie.init_beanie(database=client.bean, document_models=[Producer, Product])
            try:
                await body(Producer, Product, Kind)
            finally:
                await client.close()

        asyncio.run(whole())

    def test_documents_are_inserted_found_changed_and_deleted(self, cluster):
        async def body(Producer, Product, Kind):
            await Product.insert_many([
                Product(name=f"p{n}", price=n * 1.5, kind=Kind.tree if n % 3 == 0 else Kind.fruit, stock=[n]) for n in range(50)
            ])
            assert await Product.count() == 50
            cheap = await Product.find(Product.price < 10, Product.kind == Kind.fruit).sort(-Product.price).to_list()
            assert [p.name for p in cheap] == ["p5", "p4", "p2", "p1"]
            one = await Product.find_one(Product.name == "p7")
            one.price = 99
            await one.save_changes()
            assert (await Product.get(one.id)).price == 99
            from beanie.operators import Inc, Push, Set

            await Product.find(Product.kind == Kind.tree).update(Inc({Product.price: 1000}))
            assert await Product.find(Product.price >= 1000).count() == 17
            await Product.find_one(Product.name == "p1").update(Set({Product.price: 3}), Push({Product.stock: 8}))
            assert (await Product.find_one(Product.name == "p1")).stock == [1, 8]
            made = await Product.find_one(Product.name == "new").upsert(
                Set({Product.price: 1}), on_insert=Product(name="new", price=2))
            assert made.price == 2
            import pymongo.errors

            with pytest.raises(pymongo.errors.DuplicateKeyError):
                await Product(name="p1", price=1).insert()
            await one.delete()
            assert await Product.find_one(Product.name == "p7") is None
            assert (await Product.find(Product.price < 5).delete()).deleted_count > 0

        self.run(cluster, body)

    def test_aggregation_and_links(self, cluster):
        async def body(Producer, Product, Kind):
            import pydantic

            maker = await Producer(name="maker").insert()
            await Product.insert_many(
                [Product(name=f"p{n}", price=n, kind=Kind.tree if n % 2 else Kind.fruit, producer=maker) for n in range(20)])

            class Row(pydantic.BaseModel):
                kind: Kind = pydantic.Field(alias="_id")
                total: float

            rows = await Product.find(Product.price > 0).aggregate(
                [{"$group": {"_id": "$kind", "total": {"$sum": "$price"}}}, {"$sort": {"_id": 1}}],
                projection_model=Row).to_list()
            assert [(row.kind, row.total) for row in rows] == [(Kind.fruit, 90), (Kind.tree, 100)]
            assert await Product.find(Product.kind == Kind.tree).avg(Product.price) == 10
            linked = await Product.find(Product.producer.name == "maker", fetch_links=True).limit(3).to_list()
            assert [p.producer.name for p in linked] == ["maker"] * 3
            names = set(await Product.get_pymongo_collection().index_information())
            assert {"_id_", "name_1", "price_-1_kind_1"} <= names

        self.run(cluster, body)


def test_gridfs_keeps_a_file_of_twenty_megabytes(cluster):
    """The driver's own convention for files larger than a document."""
    database = cluster.client().files
    content = os.urandom(20 << 20)
    files = gridfs.GridFS(database)
    name = files.put(content, filename="large.bin", metadata={"kind": "noise"})
    read = files.get(name)
    assert read.length == len(content) and read.metadata == {"kind": "noise"}
    assert read.read() == content
    read.seek(7 << 20)
    assert read.read(1000) == content[7 << 20:(7 << 20) + 1000]
    bucket = gridfs.GridFSBucket(database)
    second = bucket.upload_from_stream("large.bin", io.BytesIO(b"second"), chunk_size_bytes=3)
    assert bucket.open_download_stream_by_name("large.bin").read() == b"second"
    assert bucket.open_download_stream_by_name("large.bin", revision=0).read() == content
    bucket.rename(second, "small.bin")
    assert sorted(files.list()) == ["large.bin", "small.bin"]
    bucket.delete(name)
    assert not files.exists(name) and database["fs.chunks"].count_documents({"files_id": name}) == 0
    with pytest.raises(gridfs.NoFile):
        files.get(name)


def test_pymongoarrow_moves_tables(cluster):
    """Whole result sets as columns."""
    import pymongoarrow
    import pyarrow
    from pymongoarrow.api import Schema, aggregate_pandas_all, find_arrow_all, find_pandas_all, write

    collection = cluster.client().arrow.rows
    collection.drop()
    table = pyarrow.table({
        "_id": pyarrow.array(range(5000), pyarrow.int64()),
        "weight": pyarrow.array([n / 4 for n in range(5000)], pyarrow.float64()),
        "name": pyarrow.array([f"n{n % 7}" for n in range(5000)]),
        "day": pyarrow.array([datetime.datetime(1960, 1, 1) + datetime.timedelta(days=n) for n in range(5000)], pyarrow.timestamp("ms")),
    })
    assert write(collection, table).inserted_count == 5000
    schema = Schema({"_id": pyarrow.int64(), "weight": pyarrow.float64(), "name": pyarrow.string(), "day": pyarrow.timestamp("ms")})
    back = find_arrow_all(collection, {}, schema=schema, sort=[("_id", 1)])
    assert back.select(table.column_names) == table
    frame = find_pandas_all(collection, {"weight": {"$lt": 10}}, schema=schema)
    assert len(frame) == 40 and frame["weight"].sum() == sum(n / 4 for n in range(40))
    grouped = aggregate_pandas_all(
        collection, [{"$group": {"_id": "$name", "total": {"$sum": "$weight"}}}, {"$sort": {"_id": 1}}],
        schema=Schema({"_id": pyarrow.string(), "total": pyarrow.float64()}))
    assert list(grouped["_id"]) == [f"n{n}" for n in range(7)]
    assert grouped["total"].sum() == sum(n / 4 for n in range(5000))
    assert pymongoarrow.__version__


def test_celery_keeps_its_results(cluster):
    """A task queue whose workers leave their results in the database."""
    import celery
    from celery.contrib.testing.worker import start_worker

    app = celery.Celery("stones", broker="memory://", backend=f"{cluster.uri}celery_results")
    app.conf.update(
        mongodb_backend_settings={"taskmeta_collection": "results", "database": "celery_results"}, task_track_started=True,
        result_extended=True, worker_hijack_root_logger=False)

    @app.task(name="add")
    def add(left, right):
        return left + right

    @app.task(name="total")
    def total(numbers):
        return sum(numbers)

    @app.task(name="fails")
    def fails():
        raise ValueError("on purpose")

    @app.task(name="celery.ping")
    def ping():
        return "pong"

    with start_worker(app, pool="solo", perform_ping_check=False, loglevel="error"):
        results = [add.delay(n, n) for n in range(20)]
        assert [result.get(timeout=30) for result in results] == [2 * n for n in range(20)]
        failed = fails.delay()
        with pytest.raises(ValueError, match="on purpose"):
            failed.get(timeout=30)
        assert failed.state == "FAILURE"
        assert celery.chord([add.s(n, 1) for n in range(5)])(total.s()).get(timeout=30) == 15
        group = celery.group(add.s(n, 2) for n in range(4)).apply_async()
        group.save()
        # This backend gives a group back as the list of its results.
        restored = celery.result.GroupResult.restore(group.id, app=app)
        assert [result.get(timeout=30) for result in restored] == [2, 3, 4, 5]
    stored = cluster.client().celery_results.results
    assert stored.count_documents({"status": "SUCCESS"}) >= 20
    again = app.AsyncResult(results[3].id)
    assert again.get(timeout=5) == 6
    again.forget()
    assert stored.count_documents({"_id": results[3].id}) == 0
